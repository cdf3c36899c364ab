"""Node to node: authenticated connections that carry typed messages and bodies."""
