"""The texts of the shop: names of models, titles in the style of a brand, descriptions."""

from random import Random
from zlib import crc32

from lifecycle.sample.vocabulary import Brand, ProductType, Vocabulary

_POSSESSIVE = {"women": "Women's", "men": "Men's", "kids": "Kids'"}
_SILENT = frozenset({"plain"})  # values no shop prints in a title
_BEHIND = ("with ", "on ", "for ")

# The title of each style: pieces before the variant, and how colour and size are attached.
_STYLES = {
    "comma": ("{brand} {model} {noun}", ", {}", ", {}", ", {}", ""),
    "maker_last": ("{model} {noun} by {brand}", ", {}", ", {}", ", {}", ""),
    "dash": ("{brand} {noun} {model}", " - {}", " - {}", ", {}", ""),
    "model_first": ("{brand} {model} {noun}", " {}", ", {}", " ({})", ""),
    "generic": ("{noun}", " {}", " {}", " {}", " - {brand} {model}"),
    "book": ("{model}: {noun}", ", {}", ", {}", " ({})", " | {brand}"),
    "poetic": ("{model} | {noun}", ", {}", " in {}", ", {}", " | {brand}"),
}


def model_name(voc: Vocabulary, brand: Brand, kind: ProductType, nth: int) -> str:
    """The name of a brand's nth model of a type: distinct for every nth, whatever the count."""
    bank = voc.names[brand.names]
    start = crc32(f"{brand.name}/{kind.key}".encode())
    word, lap = bank[(start + nth) % len(bank)], nth // len(bank)
    if brand.names == "codes":
        return f"{word}{(start >> 8) % 60 * 10 + 100 + lap}"
    return word if not lap else f"{word} {lap + 1}"


def type_noun(brand: Brand, kind: ProductType) -> str:
    """The word that this brand has for the type."""
    return kind.nouns[crc32(f"{kind.key}:{brand.name}".encode()) % len(kind.nouns)]


def capitalise(text: str) -> str:
    """Words with a capital, as titles have them; figures, units and capitals inside stay."""
    return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))


def goes_before(voc: Vocabulary, facet: str, value: str) -> bool:
    """Whether a facet's value stands before the type: "wireless mouse", but "kettle 1.7 l"."""
    return facet in voc.before or (facet not in voc.after and not any(c.isdigit() for c in value[:2]))


def noun_phrase(
    voc: Vocabulary,
    kind: ProductType,
    noun: str,
    audience: str | None,
    facets: dict[str, str],
    material: str | None,
    feature: str | None,
) -> tuple[str, str]:
    """The type with its details in the title, and those that stand behind it, joined by commas."""
    shown = [(facet, facets[facet]) for facet in kind.headline if facets[facet] not in _SILENT]
    words = [_POSSESSIVE[audience]] if audience in _POSSESSIVE else []
    if feature and not feature.startswith(_BEHIND) and feature.split("-")[0][:4].lower() not in noun.lower():
        words.append(feature)
    ahead = [value for facet, value in shown if goes_before(voc, facet, value)]
    words += [capitalise(value) for value in ahead if value not in noun.lower()]
    if material and material.split()[-1].lower() not in " ".join([noun, *words]).lower():
        words.append(capitalise(material))
    words.append(noun)
    tails = [voc.after[facet].format(value) for facet, value in shown if "with" in voc.after.get(facet, "")]
    if feature and feature.startswith(_BEHIND):
        tails.append(feature.replace("with ", "and ") if tails else feature)
    words += tails
    behind = [
        voc.after.get(facet, "{}").format(value)
        for facet, value in shown
        if not goes_before(voc, facet, value) and "with" not in voc.after.get(facet, "")
    ]
    return " ".join(words), ", ".join(behind)


class TitleStyle:
    """The title of one line of products, ready for its variants."""

    __slots__ = ("_color", "_head", "_size", "_tail")

    def __init__(self, brand: Brand, model: str, noun: str, detail: str) -> None:
        head, details, self._color, self._size, tail = _STYLES[brand.style]
        names = {"brand": brand.name, "model": model, "noun": noun}
        self._head = head.format(**names) + (details.format(detail) if detail else "")
        self._tail = tail.format(**names)

    def __call__(self, color: str | None, size: str | None) -> str:
        color = self._color.format(color) if color else ""
        size = self._size.format(size) if size else ""
        return f"{self._head}{color}{size}{self._tail}"


def describe(
    voc: Vocabulary,
    rng: Random,
    brand: Brand,
    kind: ProductType,
    material: str | None,
    features: list[str],
    use: str | None,
) -> str | None:
    """One to three sentences, or none, as feeds have it. A brand's own word for a feature is not explained."""
    if rng.random() < 0.2 - 0.12 * brand.tier:
        return None
    pick = rng.random()
    sentences = [kind.about[int(pick * len(kind.about))]]
    if features:
        feature = features[int(pick * len(features))]
        term = brand.terms.get(feature)
        choices = voc.features[feature].sentences
        sentences.append(f"With {term}." if term else choices[int(pick * 7) % len(choices)])
    if use and pick < 0.7:
        choices = voc.uses[use].sentences
        sentences.append(choices[int(pick * 11) % len(choices)])
    if len(sentences) < 3 and brand.slogan and pick > 0.6:
        sentences.append(brand.slogan)
    if len(sentences) < 3 and material and pick > 0.3:
        care = next((voc.care[word] for word in voc.materials[material] if word in voc.care), None)
        if care and not ("ash" in care and "machine_washable" in features):
            sentences.append(care)
    return " ".join(sentences[: 1 + int(rng.random() * 3)] if rng.random() < 0.25 else sentences[:3])
