"""Tables as data sets: against scikit-learn's scaler and encoder, and every refusal in words."""

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from poisonlab.datasets.dataset import Column, Dataset
from poisonlab.datasets.prepare import prepare
from poisonlab.datasets.sources import validate_specification
from poisonlab.datasets.tables import class_names, rows
from poisonlab.errors import InputError

FLOAT32 = 1e-6  # of standardised numbers, which are of order 1


def frame(n: int = 60) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": generator.integers(20, 60, n),
            "colour": generator.choice(["red", "green", "blue"], n),
            "income": 1e9 + generator.normal(size=n),
            "member": generator.random(n) < 0.5,
            "size": np.arange(n) % 3,
            "kind": np.where(np.arange(n) % 4 == 0, "malignant", "benign"),
        }
    )


def table(folder, given: pd.DataFrame | None = None, name: str = "it.csv", **options) -> Dataset:
    return prepare("it", written(folder, frame() if given is None else given, name, **options))


def written(folder, given: pd.DataFrame, name: str = "it.csv", **options) -> dict:
    path = folder / name
    if name.endswith("parquet"):
        given.to_parquet(path)
    else:
        given.to_csv(path, index=False, sep="\t" if name.endswith("tsv") else ",")
    return {"source": "table", "path": str(path), **options}


@pytest.mark.parametrize("name", ["it.csv", "it.tsv", "it.parquet"])
def test_numbers_are_standardised_and_categories_encoded_as_scikit_learn_does(tmp_path, name):
    given = frame()
    dataset = table(tmp_path, given, name)
    train, test = (given.iloc[index] for index in (dataset.train_index, dataset.test_index))
    assert (len(train), len(test)) == (48, 12)
    assert sorted([*train.index, *test.index]) == list(range(60))
    numbers, categories = ["age", "income", "size"], ["colour", "member"]
    scaler, encoder = StandardScaler().fit(train[numbers]), OneHotEncoder(sparse_output=False).fit(train[categories])
    free = np.array([True, False, False, False, True, False, False, True])
    for part, images, labels in (
        (train, dataset.train_images, dataset.train_labels),
        (test, dataset.test_images, dataset.test_labels),
    ):
        assert images.dtype == np.float32
        np.testing.assert_allclose(images[:, free], scaler.transform(part[numbers]), rtol=0, atol=FLOAT32)
        np.testing.assert_array_equal(images[:, ~free], encoder.transform(part[categories]))
        assert [dataset.class_names[label] for label in labels] == part["kind"].tolist()
    assert dataset.class_names == ("benign", "malignant")
    np.testing.assert_array_equal(dataset.free, free)
    assert dataset.box is None
    assert dataset.columns is not None
    assert [(one.name, one.category) for one in dataset.columns] == [
        ("age", None), ("colour", "blue"), ("colour", "green"), ("colour", "red"), ("income", None),
        ("member", "False"), ("member", "True"), ("size", None),
    ]  # fmt: skip


def test_every_class_gives_the_same_share_to_the_test_part_and_the_same_file_the_same_split(tmp_path):
    dataset, again = table(tmp_path, test_fraction=0.4), table(tmp_path, test_fraction=0.4)
    assert np.bincount(dataset.test_labels).tolist() == [18, 6]
    assert dataset.digest == again.digest


def test_a_table_of_numbers_has_no_feature_that_attacks_leave_out(tmp_path):
    assert table(tmp_path, drop=["colour", "member"]).free is None


def test_the_rows_come_back_in_their_own_units(tmp_path):
    given = frame()
    dataset = table(tmp_path, given)
    found = rows(dataset, dataset.test_images)
    expected = given.iloc[dataset.test_index].drop(columns="kind").reset_index(drop=True)
    # A standard deviation of about 1 beside a mean of 1e9: float32 keeps the last digits of the standardised number.
    np.testing.assert_allclose(found["income"], expected["income"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found["age"], expected["age"], rtol=1e-6)
    assert found["colour"].tolist() == expected["colour"].tolist()
    assert found["member"].tolist() == expected["member"].astype(str).tolist()
    with pytest.raises(InputError, match="'digits' is no table"):
        rows(prepare("digits", {"source": "digits"}), np.zeros((1, 64)))


def test_columns_and_the_features_left_out_stay_with_the_file(tmp_path):
    dataset = table(tmp_path)
    dataset.save(tmp_path / "it.safetensors")
    back = Dataset.load(tmp_path / "it.safetensors")
    assert back.columns == dataset.columns
    assert back.digest == dataset.digest
    np.testing.assert_array_equal(back.free, dataset.free)
    back.save(tmp_path / "again.safetensors")
    assert (tmp_path / "it.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_two_files_keep_their_rows_and_the_first_alone_decides_the_scale(tmp_path):
    given = frame()
    train, test = given[:40], given[40:][list(reversed(given.columns))]
    test.loc[45, "colour"] = "white"
    second = written(tmp_path, test, "test.csv")["path"]
    dataset = table(tmp_path, train, test_path=second, label="kind")
    assert dataset.train_index.tolist() == list(range(40))
    assert dataset.test_index.tolist() == list(range(20))
    mean, scale = train["age"].mean(), train["age"].std(ddof=0)
    np.testing.assert_allclose(dataset.test_images[:, 0], (test["age"] - mean) / scale, rtol=0, atol=FLOAT32)
    assert dataset.columns is not None
    assert dataset.columns[0] == Column("age", None, pytest.approx(mean), pytest.approx(scale))
    assert dataset.test_images[5, 1:4].tolist() == [0, 0, 0]  # a category that the training part does not have
    assert rows(dataset, dataset.test_images)["colour"].isna().to_numpy().nonzero()[0].tolist() == [5]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([10, 9, 9, 10], ("9", "10")),
        ([1.0, 0.0, 0.0, 1.0], ("0", "1")),
        (["b", "a", "a", "b"], ("a", "b")),
        ([True, False, False, True], ("False", "True")),
    ],
)
@pytest.mark.parametrize("name", ["it.csv", "it.parquet"])
def test_labels_are_numbered_in_sorted_order_and_keep_their_names(tmp_path, labels, names, name):
    given = pd.DataFrame({"x": np.arange(8) ** 2 / 3, "label": labels * 2})
    specification = written(tmp_path, given, name)
    dataset = prepare("it", specification)
    assert dataset.class_names == names
    found = dict(zip(dataset.train_index, dataset.train_labels, strict=True))
    assert all(names[label] == str(given["label"][row]).removesuffix(".0") for row, label in found.items())
    assert class_names(dict.fromkeys(("test_path", "label")) | specification, "datasets.it") == names


def test_chosen_classes_are_renumbered_and_standardised_among_themselves(tmp_path):
    given = frame().assign(kind=np.arange(60) % 3)
    dataset = table(tmp_path, given, classes=["2", 0])
    assert dataset.class_names == ("2", "0")
    train = given.iloc[dataset.train_index]
    assert [{0: 2, 1: 0}[label] for label in dataset.train_labels] == train["kind"].tolist()
    np.testing.assert_allclose(dataset.train_images[:, 0].mean(), 0, atol=FLOAT32)
    np.testing.assert_allclose(dataset.train_images[:, 0].std(), 1, atol=FLOAT32)


def test_columns_are_dropped_and_numbers_can_be_categories(tmp_path):
    dataset = table(tmp_path, drop=["age", "colour"], categorical=["size"])
    assert dataset.columns is not None
    shown = [(one.name, one.category) for one in dataset.columns]
    assert shown == [
        ("income", None),
        ("member", "False"),
        ("member", "True"),
        ("size", "0"),
        ("size", "1"),
        ("size", "2"),
    ]


def missing() -> pd.DataFrame:
    given = frame().astype({"age": float})
    given.loc[[3, 4, 5], "age"] = np.nan
    given.loc[[5, 6], "colour"] = None
    return given


n = np.arange(60)
REFUSED = {
    "missing": (missing(), {}, r"missing values in 4 of 60 rows \('age' 3, 'colour' 2\); fill them in \(fillna\), remove "
                r"these rows \(dropna\), or leave out the columns: datasets.it.drop: \['age', 'colour'\]"),
    "missing label": (frame().assign(kind=[None, *frame()["kind"][1:]]), {}, r"1 of 60 rows \('kind' 1\); fill .*\(dropna\)$"),
    "constant": (frame().assign(age=3), {}, r"'age' \(the same in every row\); leave them out: add \['age'\] to datasets.it.drop"),
    "copy": (frame().assign(size=frame()["age"].astype(float)), {}, r"'size' \(a copy of 'age'\)"),
    "identifier": (frame().assign(age=n + 7), {}, r"'age' \(another whole number in every row, as an identifier has"),
    "named id": (frame().rename(columns={"age": "Patient_ID"}).assign(Patient_ID=n**2), {}, r"'Patient_ID' \(another whole"),
    "texts": (frame().assign(age=[f"p{k}" for k in n]), {}, r"'age' \(48 different texts in 48 rows, as an identifier or"),
    "infinite": (frame().assign(age=[np.inf, *n[1:] ** 2 / 3]), {}, "'age' has 1 infinite values; correct it, or leave it out"),
    "no such label": (frame(), {"label": "kinds"}, "label names 'kinds', .*columns age, .*; did you mean 'kind'"),
    "no such drop": (frame(), {"drop": ["ages"]}, "drop names 'ages', .*did you mean 'age'"),
    "no such category": (frame(), {"categorical": ["sizes"]}, "categorical names 'sizes', .*did you mean 'size'"),
    "dropped label": (frame(), {"drop": ["kind"]}, "drop names 'kind', the column of the labels"),
    "all dropped": (frame()[["age", "kind"]], {"drop": ["age"]}, "all features are dropped"),
    "fractions": (frame(), {"label": "income"}, "column 'income' holds fractions, labels are classes; name"),
    "many labels": (frame(150).assign(kind=[f"k{k}" for k in range(150)]), {}, "'kind' has 150 different labels, allowed are 2"),
    "one label": (frame().assign(kind=1), {}, "'kind' has 1 different labels, allowed are 2 … 100"),
    "two places": (frame().rename(columns={"size": "Class"}), {}, "could be 'Class' or the last column, 'kind'; say which"),
    "lonely class": (frame().assign(kind=["a", *["b"] * 59]), {}, "class 'a' has no row in the test part; every class needs"),
    "one column": (frame()[["kind"]], {}, r"has the column \['kind'\] alone; features and labels are needed separated by commas"),
    "no names": (pd.DataFrame([[17.99, 0.3, 1]] * 5, columns=["17.99", "0.3", "1"]), {}, "first row is 17.99, .* are no names"),
    "both tests": (frame(), {"test_path": "it.csv", "test_fraction": 0.2}, "test_fraction means nothing"),
    "no test file": (frame(), {"test_path": "absent.csv"}, "'absent.csv' is not a file; correct datasets.it.test_path"),
    "other class": (frame(), {"classes": ["benign", "malignent"]}, "did you mean 'malignant'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_with_the_way_out(tmp_path, monkeypatch, case):
    given, options, words = REFUSED[case]
    monkeypatch.chdir(tmp_path)
    specification = written(tmp_path, given, **options)
    with pytest.raises(InputError, match=words):
        prepare("it", specification)


TESTS = {
    "lacks": (frame().drop(columns="age"), r"'test.csv' lacks the columns \['age'\] of the training table"),
    "text": (frame().assign(age="old"), "'age' holds text and in the training part numbers"),
    "category": (frame().assign(member=1), "'member' has no category of the training part in its test part, which has"),
    "class": (frame().assign(kind="benign"), "class 'malignant' has no row in the test part"),
}


@pytest.mark.parametrize("case", TESTS)
def test_a_test_table_that_does_not_fit_is_refused(tmp_path, monkeypatch, case):
    given, words = TESTS[case]
    monkeypatch.chdir(tmp_path)
    written(tmp_path, given, "test.csv")
    with pytest.raises(InputError, match=words):
        table(tmp_path, test_path="test.csv", label="kind")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "'it.csv' cannot be read as csv"),
        (b"a,b,a\n1,2,3\n", r"several columns called \['a'\]"),
        (b"a,b\n1,2\n1,2,3\n", "'it.csv' cannot be read as csv"),
        (b"a,b\n1,2,3\n1,2,3\n", "'it.csv' cannot be read as csv"),
        (b"a,b\n\xff\xfe,1\n", "'it.csv' cannot be read as csv"),
        (b"a;b\n1;2\n", "features and labels are needed separated by commas"),
    ],
)
def test_a_file_that_is_no_table_is_one_clear_line(tmp_path, monkeypatch, content, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it.csv").write_bytes(content)
    with pytest.raises(InputError, match=words):
        prepare("it", {"source": "table", "path": "it.csv"})


def test_other_files_and_types_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, words in (
        ("it.xlsx", "ends with '.xlsx', allowed are .csv"),
        ("it.parquet", "cannot be read as parquet"),
    ):
        (tmp_path / name).write_bytes(b"no table")
        with pytest.raises(InputError, match=words):
            prepare("it", {"source": "table", "path": name})
    dated = frame().assign(age=pd.Timestamp("2020-01-01"))
    with pytest.raises(InputError, match=r"'age' is of type datetime64.*, allowed are numbers, texts and truth values"):
        table(tmp_path, dated, "dated.parquet")
    with pytest.raises(InputError, match=r"'absent.csv' is not a file"):
        validate_specification("it", {"source": "table", "path": "absent.csv"})


def test_parquet_keeps_its_types_and_forgets_the_index_of_a_frame(tmp_path):
    given = frame().astype({"age": "Int64", "colour": "category", "member": "boolean"}).sample(frac=1, random_state=0)
    found, plain = table(tmp_path, given, "typed.parquet"), table(tmp_path, given, "it.csv")
    assert found.columns == plain.columns
    np.testing.assert_array_equal(found.train_images, plain.train_images)
