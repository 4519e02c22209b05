"""What a scrape of the service's metrics holds."""

import urllib.request
from collections import defaultdict

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[str, dict[tuple[str, ...], float]]


def scrape_text(address: str) -> str:
    """The page."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as page:
        text: str = page.read().decode()
    return text


def scrape(address: str) -> Samples:
    """Each sample's value by its name, and by the values of its labels in the order of the labels' names; zeros are
    left out."""
    samples: Samples = defaultdict(dict)
    for family in text_string_to_metric_families(scrape_text(address)):
        for sample in family.samples:
            key = tuple(value for _, value in sorted(sample.labels.items()))
            assert key not in samples[sample.name], f"{sample.name}{sample.labels} is there twice"
            if sample.value or family.type == "gauge":
                samples[sample.name][key] = sample.value
    return samples
