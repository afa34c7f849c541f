"""Tables as a person reads them."""
