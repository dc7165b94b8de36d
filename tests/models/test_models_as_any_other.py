"""A student is a model like any other: what people do with Hugging Face's own works with pruned ones."""

import shutil

import pytest
import torch
from slow_kit import mostly_slow
from storage_kit import LOCAL
from tiny_models import FAMILY_NAMES, ODD, batch_of, max_difference, random_rows, student_of
from torch.utils.data import Dataset
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

from minidisc_ray.data import builtin_tokenizer
from minidisc_ray.models.checkpoint import load_model, save_model
from minidisc_ray.models.forward import model_inputs
from minidisc_ray.models.modeling_minidisc import Headless

TOLERANCE = 1e-5


@pytest.fixture
def student(family):
    return student_of(family, ODD)


@pytest.fixture
def folder(student, tmp_path):
    save_model(LOCAL, student, builtin_tokenizer(), tmp_path / "student")
    return tmp_path / "student"


def answers(model, **options):
    inputs = model_inputs(model, batch_of(random_rows(6), model))
    with torch.inference_mode():
        return model.eval()(**inputs, **options).logits


class Rows(Dataset):
    """Rows of one length, as a Trainer takes them."""

    def __init__(self, model, num_rows=32):
        batch = batch_of(random_rows(num_rows), model)
        self.columns = {**model_inputs(model, batch), "labels": batch.labels}

    def __len__(self):
        return len(self.columns["labels"])

    def __getitem__(self, index):
        return {name: column[index] for name, column in self.columns.items()}


@pytest.mark.filterwarnings("ignore")
def test_the_trainer_goes_on_from_it(folder, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    arguments = TrainingArguments(
        str(tmp_path / "trained"),
        num_train_epochs=2,
        per_device_train_batch_size=8,
        learning_rate=1e-3,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model, arguments, train_dataset=Rows(model))
    trainer.train()
    assert any(not torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
    trainer.save_model(str(tmp_path / "again"))
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "again")
    assert torch.equal(answers(again), answers(model))
    assert [tuple(sizes) for sizes in again.config.minidisc_layers] == list(zip(ODD.heads, ODD.neurons, strict=True))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, g++")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_it_compiles(student):
    compiled = torch.compile(student.eval())
    inputs = model_inputs(student, batch_of(random_rows(6), student))
    with torch.inference_mode():
        assert max_difference(compiled(**inputs).logits, answers(student)) < TOLERANCE


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", mostly_slow(FAMILY_NAMES, ("bert", "distilbert")))
def test_torch_exports_it_with_any_batch_and_length(student):
    rows, length = torch.export.Dim("rows"), torch.export.Dim("length", min=2, max=64)
    inputs = model_inputs(student, batch_of(random_rows(6), student))
    shapes = {name: {0: rows, 1: length} for name in inputs}
    program = torch.export.export(student.eval(), (), kwargs=inputs, dynamic_shapes=shapes)
    other = model_inputs(student, batch_of(random_rows(3, seed=5, longest=20), student))
    with torch.inference_mode():
        wanted = student(**other).logits
        assert max_difference(program.module()(**other).logits, wanted) < TOLERANCE


def test_it_is_saved_and_loaded_by_transformers_alone(student, folder, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    model.save_pretrained(tmp_path / "again")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "again")
    assert torch.equal(answers(again), answers(student))


def test_bfloat16(student, folder):
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    logits = answers(model)
    assert logits.dtype == torch.bfloat16
    assert max_difference(logits.float(), answers(student)) < 0.1 * answers(student).abs().max()


def test_another_number_of_classes_gets_a_new_head_alone(student, folder):
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=5, ignore_mismatched_sizes=True)
    assert answers(model).shape == (6, 5)
    kept = dict(student.base_model.named_parameters())
    assert all(torch.equal(parameter, kept[name]) for name, parameter in model.base_model.named_parameters())


def test_resized_embeddings(student, folder, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    before = answers(model)
    size = model.config.vocab_size + 7
    model.resize_token_embeddings(size, mean_resizing=False)
    assert torch.equal(answers(model), before)
    model.save_pretrained(tmp_path / "again")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "again")
    assert again.get_input_embeddings().weight.shape[0] == size
    assert torch.equal(answers(again), before)


def test_a_layer_without_heads_stays_one_wherever_it_goes(folder):
    model = load_model(folder)
    assert sum(isinstance(module, Headless) for module in model.modules()) == sum(heads == 0 for heads in ODD.heads)
