"""One short script for each kind of Acme pipeline; see `builders/README.md`.

Each script trains on the embedded task `pointmaze-umaze` for a minute or two.
The scripts show how the parts fit together; they do not aim at high scores.
"""
