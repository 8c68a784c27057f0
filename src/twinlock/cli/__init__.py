"""twinlock.cli"""
