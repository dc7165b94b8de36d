"""What distillations of many tasks say about the next one (Distiller, section 3.1); knows no Ray."""
