"""One short script for each kind of Acme pipeline; see `builders/README.md`.

Each trains on the embedded task `pointmaze-umaze` for a minute or two, to show
how the parts are put together, not how well they can do.
"""
