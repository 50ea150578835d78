"""What an emitted ``train.py`` carries with it where MindSpore has nothing equal; each is tested against torch."""
