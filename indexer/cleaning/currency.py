"""Currencies: their ISO 4217 codes, and the signs and words that shops write for them."""

import re

from indexer.cleaning.rejection import InvalidValue

# ISO 4217, codes of circulating money.
_CODES = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF "
    "CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG "
    "HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA "
    "MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD "
    "RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX "
    "USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWL"
)
CURRENCIES = frozenset(_CODES.split())
# Priced in whole units wherever they circulate, so that a sign before three digits marks thousands.
WHOLE_UNITS = frozenset(
    [
        "AMD",
        "BIF",
        "CLP",
        "COP",
        "CRC",
        "DJF",
        "GNF",
        "HUF",
        "IDR",
        "IQD",
        "IRR",
        "ISK",
        "JPY",
        "KMF",
        "KPW",
        "KRW",
        "LAK",
        "LBP",
        "MGA",
        "MMK",
        "PYG",
        "RWF",
        "SOS",
        "SYP",
        "TZS",
        "UGX",
        "UZS",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
        "YER",
    ]
)
# With three decimals.
THOUSANDTHS = frozenset(["BHD", "JOD", "KWD", "LYD", "OMR", "TND"])
_DOLLARS = "USD AUD BBD BMD BND BSD BZD CAD CLP COP ARS FJD GYD HKD JMD KYD LRD MXN NAD NZD SBD SGD SRD TTD TWD UYU XCD"
DOLLARS = tuple(_DOLLARS.split())
_POUNDS = ("GBP", "EGP", "FKP", "GIP", "SHP")
# Signs and words without spaces and points, in lower case. Currencies after "?" count only where they are the catalog's
# own; otherwise the first one counts.
_WORDS = """
€ EUR;  euro EUR;  euros EUR;  ευρώ EUR;  ευρω EUR;  евро EUR;  євро EUR;  лв BGN;  lv BGN
£ GBP EGP FKP GIP SHP;  ₤ GBP;  pound GBP;  pounds GBP;  stg GBP;  us$ USD;  u$ USD;  u$s USD;  usd$ USD
$us USD;  dollar USD;  dollars USD;  c$ CAD NIO;  ca$ CAD;  cad$ CAD;  can$ CAD;  cdn$ CAD;  a$ AUD;  au$ AUD
aud$ AUD;  aus$ AUD;  nz$ NZD;  nzd$ NZD;  s$ SGD;  sg$ SGD;  sgd$ SGD;  hk$ HKD;  hkd$ HKD;  港幣 HKD
港元 HKD;  nt$ TWD;  ntd TWD;  nt TWD;  新臺幣 TWD;  台幣 TWD;  mx$ MXN;  mex$ MXN;  mxn$ MXN;  r$ BRL
reais BRL;  real BRL;  ar$ ARS;  clp$ CLP;  cl$ CLP;  col$ COP;  rd$ DOP;  j$ JMD;  ja$ JMD;  tt$ TTD;  bz$ BZD
b$ BND;  gy$ GYD;  g$ GYD;  n$ NAD;  fj$ FJD;  bds$ BBD;  ec$ XCD;  l$ LRD;  mop$ MOP;  s/ PEN;  soles PEN
b/ PAB;  bs ? BOB VES;  ₲ PYG;  gs PYG;  ₡ CRC;  q GTQ;  ¥ JPY CNY;  円 JPY;  yen JPY;  jp¥ JPY;  日元 JPY
元 CNY TWD HKD;  人民币 CNY;  人民幣 CNY;  rmb CNY;  cn¥ CNY;  yuan CNY;  圆 CNY;  圓 ? TWD HKD CNY;  ₩ KRW KPW
원 KRW;  won KRW;  ₹ INR;  rs ? INR PKR LKR NPR MUR SCR;  ₨ ? PKR INR LKR NPR MUR SCR;  रु INR NPR;  रू NPR INR
৳ BDT;  tk BDT;  taka BDT;  රු LKR;  rp IDR;  rupiah IDR;  rm MYR;  ringgit MYR;  ฿ THB;  บาท THB;  baht THB
₫ VND;  đ VND;  vnđ VND;  đồng VND;  dong VND;  ₭ LAK;  ៛ KHR;  ₱ PHP;  php₱ PHP;  ₽ RUB;  руб RUB BYN
рублей RUB BYN;  рубль RUB BYN;  рубля RUB BYN;  р RUB BYN;  rub RUB;  ₴ UAH;  грн UAH;  гривень UAH
br ? BYN ETB;  ₸ KZT;  тг KZT;  тенге KZT;  сум UZS;  so'm UZS;  сом KGS;  сомонӣ TJS;  ₮ MNT;  ₼ AZN;  ман AZN
man AZN;  ֏ AMD;  դր AMD;  ₾ GEL;  ლარი GEL;  lari GEL;  ден MKD;  дин RSD;  din RSD;  динара RSD;  dinara RSD
km BAM;  км BAM;  lekë ALL;  lek ALL;  mdl MDL;  zł PLN;  zl PLN;  złotych PLN;  kč CZK;  kc CZK;  korun CZK
ft HUF;  forint HUF;  lei RON MDL;  leu RON MDL;  kr ? SEK NOK DKK ISK;  kronor SEK;  sek SEK
kroner ? NOK DKK;  krónur ISK;  fr CHF;  sfr CHF;  franken CHF;  ₺ TRY;  tl TRY;  lira TRY;  ₪ ILS;  שח ILS
nis ILS;  שקל ILS;  شيكل ILS;  رس SAR;  sr SAR;  ريال ? SAR QAR OMR YER;  ﷼ ? IRR SAR QAR OMR YER;  رق QAR
qr QAR;  رع OMR;  دإ AED;  درهم ? AED MAD;  dhs ? AED MAD;  dh ? MAD AED;  دم MAD;  دج DZD;  da DZD;  دت TND
dt TND;  دك KWD;  kd KWD;  دب BHD;  bd BHD;  دأ JOD;  دا JOD;  jd JOD;  عد IQD;  دع IQD;  لل LBP;  ll LBP
جم EGP;  جنيه EGP;  le EGP;  e£ EGP;  egp£ EGP;  ریال IRR;  r ZAR BRL;  ₦ NGN;  n NGN;  ₵ GHS;  gh₵ GHS
gh¢ GHS;  ksh KES;  kshs KES;  tsh TZS;  ush UGX;  fcfa ? XOF XAF;  cfa ? XOF XAF;  f ? XOF XAF XPF CHF
birr ETB;  p ? PHP BWP
"""
_SPACES = re.compile(r"[\s.\"'\u2019\u05f3\u05f4\u200c]")


def _table() -> dict[str, tuple[str | None, ...]]:
    words: dict[str, tuple[str | None, ...]] = {"$": DOLLARS}
    for entry in re.split(r";\s+|\n", _WORDS.strip()):
        word, *codes = entry.split()
        words[_key(word)] = tuple(None if code == "?" else code for code in codes)
    return words


def _key(word: str) -> str:
    return _SPACES.sub("", word.casefold())


_CURRENCIES_BY_WORD = _table()


def resolve_currency(word: str, default: str | None) -> str:
    """The currency that codes, signs and words beside a number name; all must agree, as `US$` and `USD` do.

    Where several are possible, it is `default` if that is one of them. Raises InvalidValue.
    """
    candidates = _candidate_currencies(word)
    if candidates is None:
        for part in word.split():
            others = _candidate_currencies(part)
            if others is None:
                raise InvalidValue("bad_price", f"{word!r} is no currency")
            candidates = others if candidates is None else tuple(code for code in candidates if code in others)
    if not candidates:
        raise InvalidValue("ambiguous_price", f"{word!r} names two currencies")
    if default is not None and default in candidates:
        return default
    if candidates[0] is None:
        raise InvalidValue("ambiguous_price", f"{word!r} is the sign of several currencies; set the catalog's currency")
    return candidates[0]


def parse_currency(value: str, default: str | None = None) -> str:
    """An ISO 4217 code in any case, or a sign or word that means one currency, or `default` among others.

    Raises InvalidValue for anything else.
    """
    candidates = _candidate_currencies(value) or ()
    if default is not None and default in candidates:
        return default
    if len(candidates) == 1 and candidates[0]:
        return candidates[0]
    raise InvalidValue("bad_currency", f"{value!r} is no ISO 4217 code")


def is_currency(word: str) -> bool:
    """Whether a sign or word of two and more letters is one of a currency's; a single one may be anything's."""
    return len(word) > 1 and _key(word) in _CURRENCIES_BY_WORD


def _candidate_currencies(word: str) -> tuple[str | None, ...] | None:
    code = word.strip().upper()
    return (code,) if code in CURRENCIES else _CURRENCIES_BY_WORD.get(_key(word))
