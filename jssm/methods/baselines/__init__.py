"""The systems that jssm is compared with; each is one file that gives a ``Method``."""
