"""The commands of `tandem`, a module each."""
