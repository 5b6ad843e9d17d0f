"""The 26 columns of the customer list, each declared once: name, header as the ERP prints it, kind of value.

Belongs here: declarations. How a value is written is `values`, how a header is recognised `headers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["id", "text", "date", "integer", "money"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name in the tables, its header in the list, and what its values are."""

    name: str
    header: str
    kind: Kind


COLUMNS: tuple[Column, ...] = (
    Column("erp_id", "ID", "id"),
    Column("account_num", "PROFILO CLIENTE:", "text"),
    Column("name", "NOME", "text"),
    Column("vat_number", "PARTITA IVA:", "text"),
    Column("pec", "PEC:", "text"),
    Column("sdi", "SDI:", "text"),
    Column("fiscal_code", "CODICE FISCALE:", "text"),
    Column("delivery_terms", "TERMINI DI CONSEGNA", "text"),
    Column("street", "VIA:", "text"),
    Column("postal_code", "INDIRIZZO LOGISTICO CAP", "text"),
    Column("city", "CITTÀ", "text"),
    Column("phone", "TELEFONO:", "text"),
    Column("mobile", "CELLULARE:", "text"),
    Column("url", "URL:", "text"),
    Column("attention_to", "ALL\N{RIGHT SINGLE QUOTATION MARK}ATTENZIONE DI:", "text"),
    Column("last_order_date", "DATA DELL'ULTIMO ORDINE", "date"),
    Column("actual_order_count", "CONTEGGI DEGLI ORDINI EFFETTIVI", "integer"),
    Column("actual_sales", "TIPO DI CLIENTE", "money"),
    Column("previous_order_count_1", "CONTEGGIO DEGLI ORDINI PRECEDENTE", "integer"),
    Column("previous_sales_1", "VENDITE PRECEDENTE", "money"),
    Column("previous_order_count_2", "CONTEGGIO DEGLI ORDINI PRECEDENTE 2", "integer"),
    Column("previous_sales_2", "VENDITE PRECEDENTE", "money"),
    Column("description", "DESCRIZIONE:", "text"),
    Column("type", "TYPE:", "text"),
    Column("external_account_number", "NUMERO DI CONTO ESTERNO", "text"),
    Column("our_account_number", "IL NOSTRO NUMERO DI CONTO", "text"),
)
"""In the order of the list. One header stands twice: its columns are told apart by their order."""

ANALYTICS: tuple[str, ...] = tuple(column.name for column in COLUMNS[15:22])
"""Columns 16 to 22: the order figures, which change every day."""

CONTACT: tuple[str, ...] = tuple(column.name for column in (*COLUMNS[1:15], *COLUMNS[22:]))
"""Columns 2 to 15 and 23 to 26: who a customer is and how he is reached."""

SUMMED: tuple[str, ...] = tuple(column.name for column in COLUMNS[16:22])
"""Columns 17 to 22, whose sums the list prints in its last row."""
