"""The guided tour: six stops with cases of its own, to be shown without preparing anything."""
