from cli_kit import write_recipe


def test_an_estimate_is_refused_in_one_sentence(minidisc, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "storage")
    assert minidisc("plan", recipe, "--format", "json").sentence.startswith("--format: json needs --estimate")
    wrong = minidisc("plan", recipe, "--estimate", "--set", "schedule.num_sampled=9").sentence
    assert wrong.startswith("schedule.num_sampled: 9")
    assert not (tmp_path / "storage").exists()
