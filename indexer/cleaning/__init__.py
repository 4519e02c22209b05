"""From a row of a feed to a product: mapping, and values as shops write them."""
