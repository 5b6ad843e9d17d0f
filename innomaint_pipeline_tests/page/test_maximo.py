"""The cards of Maximo: shown where it is read, with the numbers of the tables, and a read is asked for."""

from playwright.sync_api import expect

from innomaint_pipeline_tests.maximo import Maximo, _maximo_process, maximo

__all__ = ["_maximo_process", "maximo"]


def test_the_cards_tell_the_numbers_of_the_tables_and_ask_for_a_read(visitor, maximo: Maximo):
    visitor.sign_in()
    expect(visitor.page.locator("#maximo")).to_be_hidden()
    maximo.sync("assets")

    expect(visitor.page.locator("#maximo-assets")).to_contain_text("success · 230 records")
    expect(visitor.page.locator("#maximo-domain")).to_contain_text("pending · 0 records · never read")
    assert visitor.page.locator(".maximo-cards li").count() == 6
    visitor.page.locator("#maximo-sync-all").click()
    expect(visitor.page.locator(".maximo-task").first).to_contain_text("pending, 0 %")
    expect(visitor.page.locator("#maximo-sync-all")).to_be_disabled()
    (row,) = maximo.rows("select kind, options ->> 'endpoint' as e from innomaint_request")
    assert row == {"kind": "maximo/read", "e": "all"}
