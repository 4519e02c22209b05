"""The words by which languages negate, for `text/negation.py`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NegationWords:
    """The words of one language, in lower case: of several words with bars between, else with spaces.

    `cues` negate what follows, and `weak` ones as well unless a word of `before` is ahead of them. What begins with one
    of `fixed` names a kind of product behind any cue, with one of `weak_fixed` behind a weak one. `skipped` stand
    between a cue and its thing, `joints` between things, `bounds` behind them. `free` are endings of words, or words
    behind a thing, that a product lacks.
    """

    cues: str
    weak: str
    fixed: str
    weak_fixed: str
    before: str
    skipped: str
    joints: str
    bounds: str
    free: str


NEGATION_WORDS = {
    "en": NegationWords(
        cues="without|w/o|w/out|excluding|excl.|except|except for|other than|apart from|free of|free from|lacking"
        "|with no|that has no|that have no|which has no|which have no|has no|have no|having no|but no",
        weak="no|not|but not|and not|that is not|that are not|which is not|which are not|is not|are not"
        "|isn't|aren't|anything but",
        fixed="doubt|question|exception|further|limits",
        weak_fixed="show|slip|sew|touch|spill|drill|drilling|tie|iron|bake|rinse|frost|fear|name|more|less|limit|limits"
        "|problem|matter|pull|skid|stick|tear|tears|tangle|tangles|one|bull|boundaries|prep|knead|fuss|mess|nonsense"
        "|doubt|only|just|for|to|until|yet|tested|disturb|found|sure|later|earlier|than|ordinary|smoking|parking|entry"
        "|trespassing|soliciting|stress|contact|crease|scratch|chew|mow|time|way|longer|country|man|war|reserve|reason"
        "|deposit|return|exit|your",
        before="do does did don't doesn't why is or if forget touch me am are was be can will should must perfume "
        "chanel model type size item part article product style number season volume vol grade",
        skipped="a an the any added extra in of made with from being having to such kind sort all",
        joints="and or nor & +",
        bounds="with for in on from under over to by at but that which who when while without no not between above"
        " below up less more as of like into using is are has have size made max maximum min minimum",
        free="free|less",
    ),
    "de": NegationWords(
        cues="ohne|frei von|außer|ausser|ausgenommen|exklusive|exkl.|mit keinem|mit keiner|mit keinen",
        weak="kein|keine|keinen|keinem|keiner|keines|nicht|aber nicht|die nicht|das nicht|der nicht|nicht in"
        "|nichts mit",
        fixed="ende|namen|titel|worte|limit|limits|gleichen",
        weak_fixed=r"\w{3,}end(?:e[rnms]?)?|nur|mehr|so|zu|für|vergessen|limit|ende|namen|gleichen|angst|worte|titel"
        "|wenn|aber|limits|problem|dich|mich|uns",
        before="warum wenn ob vergiss vergissmein bitte darf kann ist sind",
        skipped="ein eine einen einem einer der die das den dem jegliche jeglichen jede jeden zusätzliche zusätzlichen"
        " zugesetzten zugesetzter in aus von mit im alle",
        joints="und oder noch sowie & +",
        bounds="mit für in im aus von vom zum zur zu bei auf an am unter über bis aber die der das welche ohne kein"
        " keine keinen nicht ab als wie unter größe gr max maximal zwischen aber sondern",
        free="frei|los",
    ),
    "fr": NegationWords(
        cues="sans|hors|sauf|excepté|dépourvu de|dépourvue de|exempt de|exempte de|qui n'a pas de|qui n'a pas d'",
        weak="pas de|pas d'|pas|mais pas|aucun|aucune|non",
        fixed="fil|fils|contact|couture|coutures|plomb|titre|nom|limite|limites|cesse|fin|doute|souci|soucis|famille"
        "|faute|frontière|frontières",
        weak_fixed="cher|chers|chère|chères|trop|à|a|plus|que|stop|slip|tissé|tissée|tissés|moi|toi|elle|lui",
        before="ne n' pourquoi premier premiers petit grand",
        skipped="le la les un une des du de d' l' aucun aucune en à au aux ajout ajouté ajoutés",
        joints="et ou ni & +",
        bounds="avec pour en dans sur sous chez de par mais qui que sans pas moins plus taille entre jusqu'à max"
        " maximum",
        free="free",
    ),
    "es": NegationWords(
        cues="sin|excepto|salvo|libre de|libres de|que no tenga|que no tengan|que no lleve|exento de",
        weak="no|pero no|que no sea|que no sean|ningún|ninguna",
        fixed="cable|cables|hilo|hilos|contacto|costura|costuras|fin|fronteras|límites|título|nombre|plomo|miedo|ti|mí",
        weak_fixed="más|solo|sólo|es|para|te|me|stop|tejido|tejida",
        before="por si nº número modelo talla chanel",
        skipped="el la los las un una unos unas de del ningún ninguna añadido añadidos en color",
        joints="y e o u ni & +",
        bounds="con para en de sobre por pero que sin no talla entre hasta menos más desde máximo",
        free="free",
    ),
    "it": NegationWords(
        cues="senza|tranne|eccetto|privo di|priva di|privi di|che non ha|che non abbia|che non hanno",
        weak="non|ma non|che non sia|che non siano|nessun|nessuna|no",
        fixed="fili|filo|contatto|cuciture|fine|titolo|nome|limiti|piombo|paura|te|me",
        weak_fixed="più|solo|è|per|ti|mi|stop|tessuto|stick|slip",
        before="perché se modello numero taglia chanel",
        skipped="il lo la i gli le un uno una di del della dei delle l' d' alcun alcuna aggiunto aggiunti in colore",
        joints="e ed o od né & +",
        bounds="con per in di da su ma che senza non taglia tra fra fino meno più sotto massimo",
        free="free",
    ),
    "nl": NegationWords(
        cues="zonder|behalve|vrij van|uitgezonderd|exclusief|excl.|met geen",
        weak="geen|niet|maar niet|die niet|dat niet",
        fixed="naam|einde|titel|grenzen|jou|mij|ons",
        weak_fixed=r"\w{3,}end(?:e)?|alleen|meer|zo|te|voor|vergeten|gekke",
        before="waarom als of vergeet is zijn",
        skipped="een de het enige extra toegevoegde toegevoegd in van met",
        joints="en of noch & +",
        bounds="met voor in uit van op aan onder boven tot bij maar die dat zonder geen niet maat tussen vanaf max"
        " maximaal minder meer",
        free="vrij|loos|loze|free",
    ),
    "pt": NegationWords(
        cues="sem|exceto|salvo|livre de|isento de",
        weak="não|mas não|nenhum|nenhuma",
        fixed="fio|fios|contato|contacto|costura|costuras|fim|fronteiras|limites|título|nome|medo|ti|mim",
        weak_fixed="mais|só|é|para",
        before="por se modelo número tamanho chanel",
        skipped="o a os as um uma de do da adição adicionado em cor",
        joints="e ou nem & +",
        bounds="com para em de por mas que sem não tamanho entre até menos mais",
        free="free",
    ),
    "sv": NegationWords(
        cues="utan|förutom|fri från|fritt från", weak="inte|ej|ingen|inget|inga",
        fixed="slut|namn|gräns|gränser", weak_fixed="bara|mer|för",
        before="varför om", skipped="en ett den det någon några tillsatt tillsatta i av med", joints="och eller & +",
        bounds="med för i av från på under över till men som utan inte storlek",
        free="fri|fritt|fria|lös|löst|lösa|free",
    ),
    "da": NegationWords(
        cues="uden|uten|undtagen|fri for", weak="ikke|ej|ingen|intet", fixed="ende|navn|grænser",
        weak_fixed="kun|mere|for",
        before="hvorfor om", skipped="en et den det nogen tilsat i af med", joints="og eller & +",
        bounds="med for i af fra på under over til men som uden ikke størrelse", free="fri|frit|frie|løs|løse|free",
    ),
    "pl": NegationWords(
        cues="bez|oprócz|poza", weak="nie|ale nie", fixed="końca|granic|nazwy|tytułu", weak_fixed="tylko|dla|ma|mam",
        before="dlaczego czy", skipped="żadnych żadnego dodatku w z", joints="i oraz lub albo ani & +",
        bounds="z ze dla w na do od pod nad ale bez nie rozmiar", free="free",
    ),
}  # fmt: skip
