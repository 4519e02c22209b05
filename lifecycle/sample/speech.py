"""How shoppers write: plurals, units, sizes, typos."""

from random import Random

from text.keyboard import ROWS

# Unit as shops print it, and how shoppers type it; they take turns between the training and the test split.
_UNITS = {
    "L": ["{}l", "{} litre", "{} l", "{} liter"],
    "ml": ["{} ml", "{}ml"],
    "cm": ["{} cm", "{}cm"],
    "mm": ["{} mm", "{}mm"],
    "m": ["{} m", "{} metre", "{} meters", "{}m"],
    "W": ["{} watt", "{}w"],
    "V": ["{}v", "{} volt"],
    "kg": ["{} kg", "{}kg", "{}kg", "{} kilo"],
    "g": ["{} g", "{}g", "{} gram", "{} grams"],
    "inch": ["{} inch", '{}"', "{} inches", "{}in"],
    "mAh": ["{} mah", "{}mah"],
    "lumen": ["{} lumen", "{} lumens"],
    "pieces": ["{} pieces", "{} piece", "{} pcs", "set of {}"],
    "years": ["age {}", "{} years", "{} yrs", "{} year old"],
    "tog": ["{} tog", "{}tog"],
}
_SIZES = {
    "XS": ["xs", "extra small"],
    "S": ["small", "size s"],
    "M": ["medium", "size m"],
    "L": ["large", "size l"],
    "XL": ["xl", "extra large"],
    "XXL": ["xxl", "2xl"],
}
_MASS = ("food", "litter", "kibble", "cutlery", "silverware", "luggage", "soap", "shampoo", "linen", "nightwear",
         "swimwear", "delph", "hair wash",
         "grease", "resin", "studding", "trunking", "heat shrink", "stretch film", "wrap", "seal tape", "ptfe tape",
         "parcel tape", "packing tape", "hazard tape", "barrier tape", "silicone", "mastic", "oil", "adhesive",
         "protection", "rice", "pasta", "muesli", "granola", "porridge", "oatmeal", "flour", "honey", "vinegar",
         "mustard", "pesto", "seasoning", "powder", "chocolate", "cocoa", "coffee", "java", "tea", "milk", "evoo",
         "toothpaste", "mouthwash", "sunscreen", "deo", "poetry", "fiction", "sci fi", "history",
         "science", "music")  # fmt: skip
_LINKED = (" for ", " of ", " in ", " with ", " without ")
_IRREGULAR = {"knife": "knives", "shelf": "shelves", "mouse": "mice", "scarf": "scarves", "bookshelf": "bookshelves"}


def query_forms(value: str) -> list[str]:
    """The ways to type a size or a figure with its unit; the value itself, lowercased, where there is one way."""
    if value in _SIZES:
        return _SIZES[value]
    if value.startswith("EU "):
        return [f"size {value[3:]}", value[3:], value.lower()]
    if " x " in value:
        unit = next((unit for unit in ("mm", "m") if value.endswith(f" {unit}")), "cm")
        figures = value.removesuffix(f" {unit}").split(" x ")
        return ["x".join(figures), " by ".join(figures), value.lower(), "x".join(figures) + unit]
    figure, _, unit = value.partition(" ")
    return [form.format(figure) for form in _UNITS.get(unit, [])] or [value.lower()]


def pluralise(words: str) -> str:
    """The plural of a type's name; what has none, or is one already, stays."""
    if is_mass(words) or any(link in words for link in _LINKED):
        return words
    head, space, last = words.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith("y") and last[-2] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "es" if last.endswith(("s", "x", "ch", "sh")) else "s"
    return head + space + last


def is_mass(words: str) -> bool:
    """Whether a name takes no article: plurals and stuff."""
    return words.endswith(_MASS) or (words.endswith("s") and not words.endswith("ss"))


def with_article(words: str, name: str) -> str:
    """The words, which name a `name`, after its article."""
    if is_mass(name):
        return words
    return f"an {words}" if words[:1] in "aeiou" and not words.startswith(("eu", "us")) else f"a {words}"


def add_typo(text: str, rng: Random) -> str:
    """The text with one typo in one of its longer words: a swap, a gap, a double or a neighbouring key."""
    words = text.split(" ")
    long = [index for index, word in enumerate(words) if len(word) >= 5 and word.isalpha()]
    if not long:
        return text
    index = rng.choice(long)
    words[index] = _add_typo_to_word(words[index], rng)
    return " ".join(words)


def _add_typo_to_word(word: str, rng: Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    match rng.randrange(4):
        case 0 if word[at] != word[at + 1]:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        case 1:
            return word[:at] + word[at + 1 :]
        case 2:
            return word[:at] + word[at] + word[at:]
    row = next((row for row in ROWS if word[at].lower() in row), ROWS[0])
    place = max(row.find(word[at].lower()), 0)
    return word[:at] + row[place - 1 if place else 1] + word[at + 1 :]
