"""The e-mails of Enron1 (Metsis, Androutsopoulos & Paliouras 2006), as counts of their words."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer

from tasks.errors import UserError

FILE = "enron1.parquet"
HAM, SPAM = "ham", "spam"


@dataclass(frozen=True)
class Mails:
    """E-mails.

    Attributes:
        texts: of N e-mails.
        spam: which of them are spam, [N] of 0 and 1.
    """

    texts: list[str]
    spam: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)


def load_mails(folder: Path) -> Mails:
    """All e-mails, in the order of their paths: from enron1.parquet (source_path, label, text), or ham/ and spam/.

    Raises:
        UserError: neither is there.
    """
    if (folder / FILE).is_file():
        columns = pq.read_table(folder / FILE, columns=["source_path", "label", "text"]).to_pydict()
        found = sorted(zip(columns["source_path"], columns["label"], columns["text"], strict=True))
        labels, texts = [label for _, label, _ in found], [text for _, _, text in found]
    else:
        paths = [path for label in (HAM, SPAM) for path in sorted((folder / label).glob("*.txt"))]
        labels, texts = [path.parent.name for path in paths], [_read(path) for path in paths]
    if set(labels) != {HAM, SPAM}:
        raise UserError(f"{folder} holds neither {FILE} nor folders {HAM}/ and {SPAM}/ of e-mails: it must be Enron1")
    return Mails(texts, np.array([label == SPAM for label in labels], np.int64))


def count_words(train: Mails, test: Mails, fewest: int) -> tuple[csr_matrix, csr_matrix]:
    """How often each word occurs in each e-mail, [N, words] in float64.

    As in the released code words are of letters only and stop words are left out; it reduces them to their stems too.

    Args:
        train: whose words are counted.
        test: counted in the same words.
        fewest: training e-mails that a word must occur in.
    """
    counter = CountVectorizer(token_pattern=r"[a-zA-Z]{2,}", stop_words="english", min_df=fewest, dtype=np.float64)
    return counter.fit_transform(train.texts), counter.transform(test.texts)


def _read(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")
