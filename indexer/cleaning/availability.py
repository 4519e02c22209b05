"""Reads the availability of a product from the words, numbers and phrases that shops write."""

import re
import unicodedata
from typing import Any

from indexer.cleaning.rejection import InvalidValue
from indexer.cleaning.text import as_text

# Phrases of Google Merchant, schema.org and shop systems, and of shops in many languages; separated by "|".
_PHRASES = {
    "in_stock": """
        in stock|available|true|yes|y|on stock|limited availability|limited stock|low stock|few left|last pieces|
        almost sold out|online only|in store only|available for order|made to order|unlimited|always|stocked|
        ready to ship|ships today|ships immediately|ships now|immediate|immediately available|deliverable|in store|
        auf lager|lagernd|vorrätig|verfügbar|lieferbar|sofort lieferbar|sofort verfügbar|sofort|am lager|ja|
        wenige verfügbar|geringer bestand|nur noch wenige|unbegrenzt|
        en stock|disponible|dispo|oui|stock limité|illimité|stock faible|immédiat|expédié immédiatement|
        en existencia|en existencias|hay existencias|con stock|si|sí|ilimitado|pocas unidades|stock bajo|en almacén|
        disponibile|in magazzino|disponibilità immediata|disponibilità limitata|pronta consegna|illimitato|
        em estoque|em stock|disponível|pronta entrega|sim|estoque baixo|
        op voorraad|voorradig|leverbaar|direct leverbaar|beschikbaar|beperkte voorraad|
        i lager|finns i lager|på lager|lagerförd|tillgänglig|tilgængelig|tilgjengelig|få på lager|
        varastossa|saatavilla|heti saatavilla|
        dostępny|dostępna|dostępne|w magazynie|na stanie|tak|mało|duża ilość|wysyłka natychmiast|
        skladem|na skladě|dostupné|dostupný|na sklade|ano|áno|posledních pár kusů|
        raktáron|készleten|elérhető|igen|
        în stoc|in stoc|pe stoc|disponibil|da|stoc limitat|
        в наличии|есть|есть в наличии|на складе|доступен|доступно|да|мало|много|имеется|
        в наявності|є|є в наявності|так|на складі|
        наличен|в наличност|налично|на склад|na zalihi|na stanju|dostupno|na lageru|na zalogi|
        διαθέσιμο|σε απόθεμα|άμεσα διαθέσιμο|ναι|
        stokta|stokta var|mevcut|var|evet|sınırsız|
        במלאי|זמין|זמין במלאי|קיים במלאי|כן|
        متوفر|متاح|في المخزون|متوفر في المخزون|نعم|موجود|موجود در انبار|موجود است|
        在庫あり|在庫有り|在庫有|有り|あり|有|残りわずか|即納|販売中|
        有货|现货|有庫存|有库存|現貨|有現貨|库存充足|充足|可售|在售|
        재고있음|재고 있음|있음|판매중|구매가능|
        มีสินค้า|มีสินค้าในสต็อก|พร้อมส่ง|มีของ|còn hàng|sẵn hàng|tersedia|ada stok|stok tersedia|ready stock|ready|
        yra|yra sandėlyje|turime|ir noliktavā|ir pieejams|pieejams|laos|laos olemas|saadaval
        """,
    "out_of_stock": """
        out of stock|unavailable|not available|false|no|n|sold out|not in stock|no stock|discontinued|out stock|
        reserved|none in stock|temporarily out of stock|currently unavailable|out|
        nicht auf lager|nicht verfügbar|nicht vorrätig|nicht lieferbar|ausverkauft|vergriffen|nein|nicht lagernd|
        zur zeit nicht verfügbar|derzeit nicht verfügbar|
        rupture de stock|en rupture|en rupture de stock|épuisé|indisponible|non disponible|non|hors stock|
        agotado|sin existencias|sin stock|no disponible|fuera de stock|
        esaurito|non disponibile|terminato|
        esgotado|sem estoque|sem stock|indisponível|não disponível|não|fora de estoque|
        niet op voorraad|uitverkocht|niet leverbaar|niet beschikbaar|nee|
        slut|slut i lager|ej i lager|slutsåld|utsolgt|ikke på lager|udsolgt|ej på lager|nej|nei|
        loppu|ei varastossa|loppunut|ei saatavilla|ei|
        niedostępny|niedostępna|niedostępne|brak|brak w magazynie|wyprzedane|nie|
        vyprodáno|není skladem|nedostupné|vypredané|nie je skladom|ne|
        elfogyott|nincs készleten|nincs raktáron|nem elérhető|nem|
        stoc epuizat|indisponibil|nu este în stoc|epuizat|nu|
        нет в наличии|нет|отсутствует|распродано|закончился|закончилось|нет на складе|продано|
        немає в наявності|немає|ні|розпродано|няма|изчерпан|не е наличен|nema na zalihi|rasprodano|nema|ni na zalogi|
        εξαντλήθηκε|μη διαθέσιμο|εξαντλημένο|όχι|
        stokta yok|tükendi|yok|mevcut değil|hayır|
        אזל|אזל מהמלאי|לא במלאי|חסר במלאי|לא זמין|לא|
        غير متوفر|نفد|نفدت الكمية|نفذ|غير متاح|لا|ناموجود|تمام شد|
        在庫なし|在庫切れ|在庫無し|品切れ|売り切れ|完売|なし|無|
        缺货|无货|售罄|售完|缺貨|無庫存|无库存|無貨|已售完|
        품절|재고없음|재고 없음|없음|매진|일시품절|
        หมด|สินค้าหมด|ไม่มีสินค้า|hết hàng|habis|stok habis|kosong|sold|
        nėra|neturime|nav noliktavā|nav pieejams|otsas|läbi müüdud
        """,
    "preorder": """
        preorder|pre sale|available for preorder|coming soon|vorbestellbar|vorbestellung|vorverkauf|précommande|
        en précommande|preventa|reserva|prenotabile|preordine|pré venda|pre order|vooruitbestellen|förhandsboka|
        förbeställ|forudbestilling|forhåndsbestilling|ennakkotilaus|przedsprzedaż|předobjednávka|előrendelés|precomandă|предзаказ|
        передзамовлення|προπαραγγελία|ön sipariş|הזמנה מוקדמת|طلب مسبق|予約|予約受付中|予約販売|预售|預購|預售|
        예약판매|예약|đặt trước
        """,
    "backorder": """
        backorder|back ordered|available for backorder|on backorder|available on backorder|nachbestellt|auf bestellung|
        bestellbar|auf anfrage lieferbar|sur commande|bajo pedido|por encargo|su ordinazione|sob encomenda|
        op bestelling|beställningsvara|bestillingsvare|tilaustuote|na zamówienie|na objednávku|rendelésre|la comandă|
        на заказ|под заказ|під замовлення|по поръчка|κατόπιν παραγγελίας|sipariş üzerine|בהזמנה|取り寄せ|お取り寄せ|
        入荷待ち|订货|訂購|입고예정|special order
        """,
}
# Beside these words the number decides: 5 pcs, only 3 left, 在庫3.
_COUNTED = """
    pcs|pc|pieces|piece|units|unit|items|item|left|only|just|more|more than|over|at least|qty|quantity|stock|
    in warehouse|remaining|
    stück|stk|st|stck|nur|nur noch|noch|nur noch stück|noch stück|mehr als|über|bestand|menge|exemplare|
    pièces|pièce|unités|plus que|plus de|reste|il reste|quantité|unidades|unidad|uds|ud|quedan|más de|quedan unidades|
    pezzi|pz|unità|solo|disponibili|disponibles|disponibile pezzi|unidade|restam|últimas|
    stuks|nog|nog stuks|styck|kpl|kappale|sztuk|szt|sztuki|ks|kusů|kusy|kus|db|darab|buc|bucăți|
    шт|штук|штуки|осталось|осталось шт|более|больше|бр|kom|τεμ|τεμάχια|adet|tane|יחידות|יח|قطعة|قطع|
    個|点|残り|残り点|残り個|在庫|在庫数|件|库存|庫存|剩余|剩餘|仅剩|僅剩|個以上|개|재고|남음|
    ชิ้น|เหลือ|cái|chiếc|còn|buah|pcs left|sisa
    """
# Sent within so many hours or days.
_SENT = """
    ships in|ships within|ship in|dispatched in|dispatched within|dispatch in|usually ships in|usually ships within|
    usually dispatched within|delivery in|delivery|delivery time|lead time|lieferzeit|lieferbar in|versandfertig in|
    versand in|lieferung in|sofort lieferbar lieferzeit|in lieferbar|expédié sous|expédition sous|livraison sous|
    livré en|livraison en|sous|envío en|entrega en|se envía en|spedizione in|spedito in|consegna in|envio em|
    entrega em|levertijd|verzonden binnen|leverans|leveranstid|levering|wysyłka w|wysyłka|odeslání do|отправка|
    доставка|отправка через|срок доставки|发货|出货|発送|以内に発送|出荷|일 이내 발송|24h versand|versand
    """
_DAYS = """
    h|hr|hrs|hour|hours|d|day|days|business days|working days|std|stunden|stunde|tag|tage|tagen|werktage|werktagen|
    werktag|arbeitstage|heures|heure|jours|jour|jours ouvrés|horas|hora|días|día|dias|dia|ore|giorni|giorno|
    giorni lavorativi|días laborables|dias úteis|uur|dagen|dag|werkdagen|timmar|dagar|dage|dager|timer|dni|godz|
    dni robocze|hodin|dnů|dní|ч|час|часов|часа|дней|дня|день|小时|天|小時|時間|日|営業日|日以内|일|시간
    """
_SCHEMA = re.compile(r"^(?:https?://(?:www\.)?schema\.org/|schema:)")
_QUANTITY = re.compile(r"[+-]?\d+(?:[.,]\d*)?")
_NUMBER = re.compile(r"\d+(?:[.,\s]\d{3})*(?:[.,]\d+)?", re.ASCII)
# A date leaves open whether the product is available before or after it.
_DATE = re.compile(r"\d{4}([-./])\d{1,2}\1\d{1,2}|\d{1,2}([-./])\d{1,2}\2\d{4}")
_LIMIT = 100


def _letters(text: str) -> str:
    """Letters and marks alone, so that case, spaces and signs do not count."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if unicodedata.category(c)[0] in "LM")


def _words(phrases: str) -> frozenset[str]:
    return frozenset(filter(None, map(_letters, phrases.split("|"))))


_STATES = {word: state for state, phrases in _PHRASES.items() for word in _words(phrases)}
_UNITS, _PROMISES, _TIMES = _words(_COUNTED), _words(_SENT), _words(_DAYS)


def parse_availability(value: Any) -> str | None:
    """One of `catalog.product.AVAILABILITIES`; None where nothing is there. Raises InvalidValue for a word not known.

    Reads the words of Google, schema.org and shops in many languages, truth values, a quantity in stock as `3`, `10+`,
    `>5`, `5 pcs` or `only 3 left`, and `ships in 24h`.
    """
    text = as_text(value).strip()
    if not text:
        return None
    if len(text) > _LIMIT:
        raise InvalidValue("unknown_availability", f"{text[:_LIMIT]!r}... is no availability")
    if _QUANTITY.fullmatch(text):
        return "in_stock" if float(text.replace(",", ".")) > 0 else "out_of_stock"
    phrase_state = None if _NUMBER.search(text) else _STATES.get(_letters(_SCHEMA.sub("", text.casefold())))
    state = phrase_state or _state_by_number(text)
    if state is None:
        raise InvalidValue("unknown_availability", f"{text!r} is no availability")
    return state


def _state_by_number(text: str) -> str | None:
    """The state that a phrase around a number means, or None: 10+, 5 pcs, noch 3 Stück auf Lager, ships in 24h."""
    if text == "\u221e":
        return "in_stock"
    numbers = _NUMBER.findall(text)
    kinds = {kind for part in _NUMBER.split(text) for kind in _kinds(part)} - {"", "units"}
    if not numbers or len(kinds) > 2 or None in kinds or "<" in text or "%" in text:
        return None
    positive = [re.search("[1-9]", number) is not None for number in numbers]
    if kinds == {"sent"}:
        return "in_stock" if any(positive) else None
    state = next(iter(kinds - {"sent"}), None)
    if state in ("preorder", "backorder") or len(kinds - {"sent"}) > 1:
        return state if len(kinds) == 1 else None
    if any(positive) != all(positive):
        return None
    if _DATE.search(text):
        return None
    counted = "in_stock" if positive[0] or ">" in text else "out_of_stock"
    return None if (state, counted) == ("out_of_stock", "in_stock") else counted


def _kinds(phrase: str) -> set[str | None]:
    """The kinds of the one or two wordings that make up a phrase; None where they are not known."""
    words = phrase.split()
    for cut in range(len(words) + 1):
        kinds = {_kind(_letters(" ".join(words[:cut]))), _kind(_letters(" ".join(words[cut:])))}
        if None not in kinds:
            return kinds
    return {None}


def _kind(word: str) -> str | None:
    if word in _TIMES or word in _PROMISES:
        return "sent"
    return "units" if word in _UNITS else "" if not word else _STATES.get(word)
