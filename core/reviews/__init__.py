"""Reviews: what readers said of a case before and after they saw the network, kept so that it can be proved.

``record`` what a review holds, ``store`` the one door to the database, ``audit`` the chain of what was done.
"""
