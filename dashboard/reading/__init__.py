"""The reader's review of the open case: their own read before the network speaks, what they say after it, their signature.

``desk`` what is known of a review, ``form`` its fields and drafts, ``first`` and ``second`` the two reads, ``panel`` all of it.
"""
