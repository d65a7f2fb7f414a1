"""How a network is run: ``tracing`` its graph, ``cutting`` it at the target layer. torch is the reference engine."""
