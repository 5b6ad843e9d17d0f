"""Coming in and going out."""

from playwright.sync_api import expect

from innomaint_pipeline_tests.api.conftest import ADMIN_TOKEN
from innomaint_pipeline_tests.page.conftest import Visitor

UNAUTHORIZED = r"status of 401"


def stored_by_scripts(visitor: Visitor) -> str:
    return visitor.page.evaluate(
        """JSON.stringify(
            [{...localStorage}, {...sessionStorage}, document.cookie, document.documentElement.outerHTML])"""
    )


def test_the_printed_link_signs_in_and_leaves_the_address_bar(visitor: Visitor) -> None:
    visitor.sign_in()
    assert visitor.page.url == f"{visitor.base}#/"
    visitor.page.reload()
    visitor.see("#total", "12")
    assert ADMIN_TOKEN not in stored_by_scripts(visitor)


def test_the_form_signs_in_once_the_token_is_right(visitor: Visitor) -> None:
    visitor.tolerated = [UNAUTHORIZED]
    visitor.page.goto(visitor.base)
    expect(visitor.page.get_by_label("Admin token")).to_be_focused()
    visitor.page.keyboard.type("wrong")
    visitor.press("Enter")
    visitor.see("#sign-in-message", "This token is not the right one")
    expect(visitor.page.get_by_label("Admin token")).to_be_focused()
    expect(visitor.page.get_by_label("Admin token")).to_have_value("")
    visitor.page.keyboard.type(ADMIN_TOKEN)
    visitor.press("Enter")
    visitor.see("#total", "12")


def test_without_a_session_nothing_is_asked_for(visitor: Visitor) -> None:
    visitor.page.goto(visitor.base)
    visitor.see("#token")
    assert [url for url in visitor.requests if "/api/" in url] == []


def test_a_wrong_link_says_so_and_leaves_the_address_bar(visitor: Visitor) -> None:
    visitor.tolerated = [UNAUTHORIZED]
    visitor.page.goto(f"{visitor.base}#token=wrong")
    visitor.see("#sign-in-message", "This token is not the right one")
    assert "wrong" not in visitor.page.url


def test_too_many_wrong_tokens_are_told(visitor: Visitor) -> None:
    visitor.tolerated = [UNAUTHORIZED, r"status of 429"]
    visitor.page.goto(visitor.base)
    for _ in range(30):
        with visitor.page.expect_response("**/sync/session") as answered:
            visitor.page.get_by_label("Admin token").fill("wrong")
            visitor.press("Enter")
        if answered.value.status == 429:
            break
    visitor.see("#sign-in-message", "too many wrong tokens")


def test_signing_out_ends_the_session(visitor: Visitor) -> None:
    visitor.sign_in()
    visitor.page.get_by_role("button", name="Sign out").click()
    visitor.see("#token")
    assert visitor.page.locator("#total").count() == 0
    answered = visitor.page.evaluate("fetch('/api/sync/overview').then(answer => answer.status)")
    assert answered == 401
    visitor.tolerated = [UNAUTHORIZED]


def test_a_session_that_has_ended_leads_back_to_the_form(visitor: Visitor) -> None:
    visitor.tolerated = [UNAUTHORIZED]
    visitor.sign_in()
    visitor.context.clear_cookies()
    visitor.see("#sign-in-message", "The session has ended")
