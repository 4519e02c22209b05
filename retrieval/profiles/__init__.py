"""What shoppers did, kept from request to request under keyed hashes of their ids."""
