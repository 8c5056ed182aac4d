"""Agents, each laid out like an Acme agent, and what their learners share."""
