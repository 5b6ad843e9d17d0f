"""The mutations of `tools/mutate.py` fit the code; one of them is run for real."""

import ast

import pytest

from tools.mutate import MUTATIONS, ROOT, copy_to, run_mutation, run_tests


def test_twenty_two_defences_are_named():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) == 22


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_text_of_a_defence_stands_once_in_its_file_and_its_test_exists(mutation):
    source = (ROOT / "innomaint_pipeline" / mutation.file).read_text("utf-8")
    assert source.count(mutation.found) == 1
    ast.parse(source.replace(mutation.found, mutation.put))
    file, _, name = mutation.test.partition("::")
    tree = ast.parse((ROOT / "innomaint_pipeline_tests" / file).read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_a_defence_that_is_removed_is_caught_and_the_working_folder_untouched(tmp_path):
    mutation = next(item for item in MUTATIONS if item.name == "another serial number")
    path = ROOT / "innomaint_pipeline" / mutation.file
    before = path.read_bytes()
    copy_to(tmp_path)
    assert run_tests(tmp_path, [mutation.test]) == 0
    assert run_mutation(tmp_path, mutation) == "caught"
    assert path.read_bytes() == before
