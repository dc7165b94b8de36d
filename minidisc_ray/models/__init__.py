"""Which Linear is a head or a neuron in each family; gates, elastic slices, surgery, checkpoints."""
