"""Calls a running service: python examples/search.py "red mug" 127.0.0.1:50051. Needs the package `tandem-client`."""

import sys

from tandem.client import SearchClient, SearchError, SearchRequest
from tandem.v1 import search_pb2

query = sys.argv[1] if len(sys.argv) > 1 else "red mug"
address = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:50051"

with SearchClient(address, timeout=0.5) as client:
    try:
        response = client.search(SearchRequest(query=query, top_k=5))
    except SearchError as error:
        sys.exit(str(error))

print(f"release {response.release_id}")
for hit in response.hits:
    price = hit.product.price
    amount = f"{price.units}.{price.nanos // 10_000_000:02d} {price.currency_code}".strip()
    print(f"{hit.rank}. {hit.product.title}  {amount}  score {hit.score:.3f}")
for entry in response.degraded:
    print("degraded:", search_pb2.DegradationReason.Name(entry.reason), entry.detail)
