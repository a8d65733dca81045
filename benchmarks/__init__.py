"""The board: npool beside its peers, each answer checked before it is timed."""
