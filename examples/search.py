"""Asks a running Tandem: python examples/search.py "red mug" 127.0.0.1:50051"""

import sys

import grpc

from tandem.v1 import search_pb2, search_pb2_grpc

query = sys.argv[1] if len(sys.argv) > 1 else "red mug"
address = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:50051"

with grpc.insecure_channel(address) as channel:
    stub = search_pb2_grpc.SearchServiceStub(channel)
    try:
        answer = stub.Search(search_pb2.SearchRequest(query=query, top_k=5), timeout=0.5)
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")

print(f"release {answer.release_id}")
for hit in answer.hits:
    price = hit.product.price
    amount = f"{price.units}.{price.nanos // 10_000_000:02d} {price.currency_code}".strip()
    print(f"{hit.rank}. {hit.product.title}  {amount}  score {hit.score:.3f}")
for entry in answer.degraded:
    print("degraded:", search_pb2.DegradationReason.Name(entry.reason), entry.detail)
