"""versions/ as data: the revisions, the graph, exact plans, and what is wrong with them."""
