"""Filters, facets, groups and two pages of a running service: python examples/search.py "red mug" 127.0.0.1:50051.

Needs the package `tandem-client`.
"""

import sys

from tandem.client import SearchClient, SearchError, SearchRequest
from tandem.v1 import search_pb2

query = sys.argv[1] if len(sys.argv) > 1 else "red mug"
address = sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:50051"
seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 0.5

request = SearchRequest(
    query=query,
    top_k=5,
    filter={"range": {"field": "price", "below": {"number": 20}}},
    facets=[{"field": "brand", "limit": 5}, {"field": "price", "borders": [0, 10, 20]}],
    group_by={"field": "item_group_id"},  # the best variant of each product
)
with SearchClient(address, timeout=seconds) as client:
    try:
        response = client.search(request)
        print(f"release {response.release_id}")
        print(f"{response.total.value} products match, in {response.groups.value} groups")
        for facet in response.facets:
            counts = [f"{value.value} ({value.count})" for value in facet.values]
            counts += [f"{entry.at_least:g} to {entry.below:g} ({entry.count})" for entry in facet.ranges]
            print(f"{facet.field}: {', '.join(counts) or 'none'}")
        hits = list(response.hits)
        if response.next_page_token:  # the rest of the request stays as it was
            request.page_token = response.next_page_token
            hits += client.search(request).hits
    except SearchError as error:
        sys.exit(str(error))

for hit in hits:
    price = hit.product.price
    amount = f"{price.units}.{price.nanos // 10_000_000:02d} {price.currency_code}".strip()
    print(f"{hit.rank}. {hit.product.title}  {amount}  one of {hit.group.size}")
for entry in response.degraded:
    print("degraded:", search_pb2.DegradationReason.Name(entry.reason), entry.detail)
