"""How Innomaint words a CMMS asset: the JSON of one answer, with habits and lapses.

Belongs here: field names, types and the vendor's arithmetic. Facts come from `estate`; deliberate breakage is
`faults`.
"""

import random
from datetime import datetime, timedelta, timezone
from typing import Any

from innomaint_pipeline.simulator.dice import build_dice
from innomaint_pipeline.simulator.innomaint.estate import Equipment

# Asia/Kolkata has known no other offset since 1945; a fixed one needs no time zone database.
VENDOR_TIMEZONE = timezone(timedelta(hours=5, minutes=30), "Asia/Kolkata")

_ID_FIELDS = (
    "id", "traceid", "customer_id", "location_id", "building_id", "floor_id", "department_id",
    "asset_floor_id", "asset_building_id", "asset_department_id", "customer_model_id",
    "location_model_id", "ticketcount",
)  # fmt: skip


def build_answer(equipment: Equipment, seed: int, now: datetime) -> dict[str, Any]:
    """Return the answer for a CMMS asset at a moment: a new object each time, JSON types only.

    Of two answers at different moments only `total_actual_hrs`, `mtbf` and `availability` differ.
    """
    dice = build_dice(seed, "answer", equipment.position)
    data = _build_data(equipment, dice)
    response: dict[str, Any] = {
        "data": data,
        "performance": build_performance(equipment, now),
        "workorder_transactional": _build_work_orders(equipment, dice),
    }
    if dice.random() < 0.03:
        response["geolocation"] = {
            "site_latitude": f"{28.4 + dice.random():.6f}",
            "site_longitude": f"{76.9 + dice.random():.6f}",
            "geofence_radius_m": 50,
        }
    if dice.random() < 0.03:
        data["contract"] = {
            "contract_title": "Comprehensive O&M",
            "contract_number": f"OM/{2020 + int(dice.random() * 6)}/{equipment.position:05d}",
            "contract_valid_upto": "2028-03-31",
        }
    return {"status": True, "response_code": 200, "response": response}


def build_performance(equipment: Equipment, now: datetime) -> dict[str, Any]:
    """Return the section `performance`; it obeys the vendor's own arithmetic exactly.

    Without a ticket there is nothing to divide by: `mttr`, `mtbf` and the break-down are then the vendor's
    zero, "0".
    """
    actual_seconds = int((now - equipment.registered_at).total_seconds())
    breakdown_seconds = equipment.ticket_count * equipment.repair_seconds
    up_seconds = actual_seconds - breakdown_seconds
    between_seconds = up_seconds // equipment.ticket_count if equipment.ticket_count else 0
    return {
        "equipments_name": equipment.kind,
        "equipment_model_name": equipment.model,
        "criticality_type_label": "Critical" if equipment.criticality == "High" else "Non-Critical",
        "total_ticket": equipment.ticket_count,
        "mttr": format_duration(equipment.repair_seconds),
        "mtbf": format_duration(between_seconds),
        "availability": str((200 * up_seconds + actual_seconds) // (2 * actual_seconds)),
        "total_ticket_breakdown_hrs": format_duration(breakdown_seconds),
        "total_schedule_breakdown_hrs": format_duration(equipment.position % 5 // 4 * 5_400),
        "asset_created_date": equipment.registered_at.astimezone(VENDOR_TIMEZONE).strftime("%d/%m/%Y %H:%M"),
        "total_actual_hrs": format_duration(actual_seconds),
    }


def format_duration(seconds: int) -> str:
    """Write seconds as the vendor does: `H+:MM:SS` with at least two digits of hours, zero as "0"."""
    if seconds == 0:
        return "0"
    minutes, rest = divmod(seconds, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"


def _build_data(equipment: Equipment, dice: random.Random) -> dict[str, Any]:
    draw = dice.random
    position, place = equipment.position, equipment.place
    trace_id, customer_id, location_id = 600_000 + position, 560_000 + position, 510_000 + position
    data: dict[str, Any] = {
        "id": trace_id,
        "traceid": trace_id,
        "serialnumber": equipment.serial,
        "barcode": f"MOD{140_000 + position % 400}/SER{trace_id}",
        "criticality": equipment.criticality,
        "capacity_rating": equipment.capacity_rating,
        "customer_id": place.customer_id,
        "customer_name": place.customer_name,
        "location_id": place.location_id,
        "location_name": place.location_name,
        "building_id": place.building_id,
        "building_name": place.building_name,
        "floor_id": place.floor_id,
        "floor_name": place.floor_name,
        "department_id": place.department_id,
        "department_name": place.department_name,
        "asset_floor_id": place.asset_floor_id,
        "asset_building_id": place.asset_building_id,
        "asset_department_id": place.asset_department_id,
        "installation_date": f"{equipment.installed_on:%Y-%m-%d}" if draw() < 0.4 else None,
        "ticketcount": equipment.ticket_count + int(draw() * 4),
        "schedulecount": int(draw() * 60),
        "schedule_configured": int(draw() < 0.8),
        "schedule_initiate": int(draw() < 0.7),
        "in_charge_person": equipment.in_charge_person,
        "iot_device_mapped": int(draw() < 0.1),
        "status": 1,
        "asset_live_status": int(draw() < 0.95),
        "traceability_updated_on": f"2025-{1 + int(draw() * 12):02d}-{1 + int(draw() * 28):02d} 04:21:46+00",
        "fk_customers_equipment_mapping_id": customer_id,
        "customers_locations_serialnumber_mapping_id": location_id,
        "customer_traceability_id": customer_id,
        "customer_model_id": 230_000 + position,
        "location_traceability_id": location_id,
        "location_model_id": 260_000 + position,
    }
    _add_lapses(data, equipment, dice)
    return data


def _add_lapses(data: dict[str, Any], equipment: Equipment, dice: random.Random) -> None:
    draw = dice.random
    if draw() < 0.05:
        data.update(
            mapping_status=1,
            traceability_status=1,
            year_of_manufacturing=equipment.year_of_manufacturing
            if draw() < 0.7
            else str(equipment.year_of_manufacturing),
            is_loaner=0,
            is_ble_tracking=0,
            is_rfid_tracking=int(draw() < 0.2),
            is_qr_tracking=1,
            is_tracking_enabled=int(draw() < 0.5),
        )
    if draw() < 0.02:
        data.update(department_id=0, department_name="", asset_department_id=0)
    if draw() < 0.02:
        data["criticality"] = "" if draw() < 0.6 else None
    if draw() < 0.06:
        data["capacity_rating"] = "" if draw() < 0.7 else None
    if draw() < 0.05:
        data["in_charge_person"] = (" ", "", None)[int(draw() * 3)]
    if draw() < 0.01:
        del data["barcode"]
    if draw() < 0.04:
        data.update({name: str(data[name]) for name in _ID_FIELDS})


def _build_work_orders(equipment: Equipment, dice: random.Random) -> dict[str, dict[str, str]]:
    draw = dice.random
    money = "{:,.2f}" if draw() < 0.3 else "{:.2f}"
    estimates, schedules, tickets = int(draw() * 4), int(draw() * 60), equipment.ticket_count
    recent = draw()
    costs = (estimates * 1_234.5, schedules * 310.25 * draw(), tickets * 2_750 * draw())
    return {
        "upto": _build_period((estimates, schedules, tickets), costs, money),
        "last_year": _build_period(
            (int(estimates * recent), int(schedules * recent), int(tickets * recent)),
            (costs[0] * recent, costs[1] * recent, costs[2] * recent),
            money,
        ),
    }


def _build_period(
    counts: tuple[int, int, int], costs: tuple[float, float, float], money: str
) -> dict[str, str]:
    period: dict[str, str] = {}
    for name, count, cost in zip(("work_estimate", "schedule", "ticket"), counts, costs, strict=True):
        period[f"{name}_count"] = str(count)
        period[f"{name}_cost"] = money.format(cost if count else 0)
    return period
