"""What the two runs of .ci/bench found: selectors/benches/results.csv."""

import csv
import pathlib

BENCHES = pathlib.Path(__file__).resolve().parent.parent / "selectors" / "benches"


class Measured:
    """One number of both runs: of each run its median between its quartiles.

    >>> Measured([(0.9, 1.0, 1.1), (1.0, 1.08, 1.2)]).text("{:.2f}".format)
    '1.04'

    The second run is outside the quartiles of the first, and then the first outside the second's:

    >>> Measured([(0.9, 1.0, 1.1), (0.9, 1.2, 1.3)]).text("{:.2f}".format)
    '1.00 … 1.20'
    >>> Measured([(0.9, 1.0, 1.3), (1.1, 1.2, 1.3)]).text("{:.2f}".format)
    '1.00 … 1.20'

    Runs that scatter this much agree with anything, so that their quartiles are shown:

    >>> Measured([(0.5, 1.0, 1.1), (0.6, 1.05, 1.2)]).text("{:.2f}".format)
    '0.50 … 1.20'

    A difference that does not show is none, and the unit is named once:

    >>> Measured([(1, 1, 1), (2, 2, 2)]).text("{} ns".format)
    '1 … 2 ns'

    >>> Measured([(1.0, 1.0, 1.0), (1.001, 1.001, 1.001)]).text("{:.2f}".format)
    '1.00'
    """

    def __init__(self, spreads):
        self.spreads = spreads

    def agrees(self):
        """Whether the median of each run is inside the quartiles of the other."""
        return all(
            low <= other[1] <= high for low, _, high in self.spreads for other in self.spreads
        )

    def steady(self):
        """Whether the quartiles of each run are near each other."""
        return all(high <= 1.5 * low for low, _, high in self.spreads)

    def ends(self):
        medians = [median for _, median, _ in self.spreads]
        return min(medians), max(medians)

    def median(self):
        """Between the medians of the runs."""
        return sum(self.ends()) / 2

    def text(self, show):
        """One number, or from where to where if the runs do not agree or are not steady."""
        ends = self.ends()
        if not self.steady():
            ends = min(low for low, _, _ in self.spreads), max(high for _, _, high in self.spreads)
        elif self.agrees():
            return show(self.median())
        low, high = map(show, ends)
        if low == high:
            return low
        if low.split()[1:] == high.split()[1:]:
            low = low.split()[0]
        return f"{low} … {high}"


class Row:
    """One contender at one point of a workload."""

    def __init__(self, runs):
        first = runs[0]
        self.unit, self.base = first["unit"], first["base"]
        self.value = measured(runs, "low", "median", "high")
        self.ratio = measured(runs, "ratio low", "ratio median", "ratio high")
        self.of_epoll = measured(runs, "epoll low", "epoll median", "epoll high")


def measured(runs, *columns):
    """The number in these columns, if every run has it."""
    texts = [[run[column] for column in columns] for run in runs]
    if not all(all(text) for text in texts):
        return None
    return Measured([tuple(map(float, text)) for text in texts])


def read():
    """The rows by workload, parameters and contender, in the order of the file."""
    runs = {}
    with open(BENCHES / "results.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            runs.setdefault((row["workload"], row["parameters"], row["contender"]), []).append(row)
    several = max(map(len, runs.values()))
    once = [" ".join(key) for key, rows in runs.items() if len(rows) != several]
    if once:
        raise SystemExit(f"not in every run: {once}")
    return {key: Row(rows) for key, rows in runs.items()}
