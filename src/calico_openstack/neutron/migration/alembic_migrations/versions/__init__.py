"""The revisions. New tables and columns belong to `expand`, everything else to `contract`."""
