"""Tandem's wire contract, for Python clients: `from tandem.v1 import search_pb2, search_pb2_grpc`."""
