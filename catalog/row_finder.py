class RowFinder:
    def __init__(self, table):
        self._rows = {name: row for row, name in enumerate(table.ids())}

    def find(self, name):
        return self._rows.get(name, -1)
