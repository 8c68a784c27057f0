"""Traders who do anything at any time, to a live server that must stay sane (`tests/server/test_nonsense.py`).

`machine` draws what happens next, `world` does it, `truths` says what must hold after every step, `mirror` is a
subscriber who follows the feed, `talk` draws frames that are wrong in every way.
"""
