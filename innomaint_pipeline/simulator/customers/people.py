"""Invented customers: nobody of them exists, but each odd thing of a real list does.

Belongs here: what stands in a list. How it is printed is `drawing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from random import Random

from innomaint_pipeline.simulator.dice import build_dice

Customer = Mapping[str, str | int | Decimal | date | None]
"""A value, or None, for each of the 26 columns by its name; `erp_id` without dots."""

_FIRST_ID = 54_310
_SURNAMES = (
    *("Abete", "Bruni", "Corvi", "Dossi", "Erba", "Ferri", "Gallo", "Lupi", "Monti", "Neri", "Orsi", "Pini"),
    *("Querci", "Rivolta", "Salici", "Tigli", "Ulivi", "Vette", "Zanni", "Nicolò"),
    "D\N{RIGHT SINGLE QUOTATION MARK}Onofrio",
)
_TRADES = ("Studio", "Officina", "Idraulica", "Cantiere", "Forno", "Libreria", "Molino", "Ferramenta")
_CITIES = (
    "Forlì",
    "Milano",
    "Cantù",
    "L'Aquila",
    "San Donà di Piave",
    "Mondovì",
    "Ragusa",
    "Castelfranco Veneto",
)
_STREETS = ("Via", "Viale", "Piazza", "Corso", "Località")
_TERMS = ("Corriere Esempio", "Franco fabbrica", "Porto assegnato")
_APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"
_LONG_NAME = (
    f"Società Agricola Fratelli {{surname}} «L{_APOSTROPHE}Età dell{_APOSTROPHE}Oro» di {{other}} e figli"
)
# As measured: 28 of 1,452 customers have a profile, 3 another external number; the number of pages tells that
# about 44 names take two lines.
_WRAPPED_EACH, _DEBTOR_EACH, _OTHER_NUMBER_EACH = 33, 52, 484


def invent_customers(count: int, seed: int = 0) -> list[Customer]:
    """Return `count` customers, ascending by id; the same for the same seed, the first ones of more alike.

    The first has a wrapped name, an id that ends in 0, more than a thousand orders, negative sales, and the
    curly apostrophe, the sign `€` and accents.
    """
    dice = build_dice("customers", seed)
    customers, number = [], _FIRST_ID
    for index in range(count):
        customers.append(_invent(dice, index, number))
        number += dice.randint(1, 40)
    return customers


def _invent(dice: Random, index: int, number: int) -> Customer:
    surname, other = dice.sample(_SURNAMES, 2)
    is_debtor = index % _DEBTOR_EACH == 0
    orders = dice.choice((0, 0, 0, 1, 2, 7, 12, 48))
    digits = f"{dice.randrange(10**11):011d}"
    has_mail = dice.random() < 0.6
    values: dict[str, str | int | Decimal | date | None] = {
        "erp_id": str(number),
        "account_num": f"1{number:06d}" if is_debtor else None,
        "name": f"{dice.choice(_TRADES)} {surname} {index}",
        "vat_number": digits if dice.random() < 0.9 else None,
        "pec": f"amministrazione{index}@pec.example" if has_mail else None,
        "sdi": digits[:7] if has_mail else None,
        "fiscal_code": f"XXXYYY{digits[:2]}A{digits[2:4]}Z{digits[4:7]}X" if dice.random() < 0.3 else None,
        "delivery_terms": dice.choice(_TERMS) if is_debtor else None,
        "street": f"{dice.choice(_STREETS)} {other}, {dice.randint(1, 300)}/{dice.choice('AB')}",
        "postal_code": f"{dice.randrange(100_000):05d}",
        "city": dice.choice(_CITIES),
        "phone": f"+39 0543 {digits[:6]}",
        "mobile": f"+39 333 {digits[:7]}" if dice.random() < 0.5 else None,
        "url": None,
        "attention_to": f"{surname} {other}" if dice.random() < 0.2 else None,
        "last_order_date": date(2026, 1, 2) - timedelta(days=dice.randrange(2_000)) if orders else None,
        "actual_order_count": orders,
        "actual_sales": _money(dice, orders),
        "previous_order_count_1": orders // 2,
        "previous_sales_1": _money(dice, orders // 2),
        "previous_order_count_2": orders // 3,
        "previous_sales_2": _money(dice, orders // 3),
        "description": "Debitor" if is_debtor else "Potenziale cliente, contatto di fiera",
        "type": "Debitor" if is_debtor else "PotFromCon",
        "external_account_number": str(number),
        "our_account_number": None,
    }
    if index % _WRAPPED_EACH == 0:
        values["name"] = _LONG_NAME.format(surname=surname, other=other)
    if index % _OTHER_NUMBER_EACH == _OTHER_NUMBER_EACH - 1:
        values["external_account_number"] = str(number + 1)
    if index == 0:
        values |= {
            "actual_order_count": 1_234,
            "actual_sales": Decimal("-1234.56"),
            "last_order_date": date(2026, 1, 2),
            "attention_to": "Ufficio \N{EURO SIGN}/ordini",
            "street": "Località Borgo Vecchio di Sopra, 120/A, int. 4",
            "city": "Castelfranco sul Lago (RA)",
        }
    return values


def _money(dice: Random, orders: int) -> Decimal:
    return Decimal(orders * dice.randint(500, 90_000)) / 100 * (-1 if dice.random() < 0.05 else 1)
