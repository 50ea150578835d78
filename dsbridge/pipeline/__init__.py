"""Into mindspore.dataset: rows and batches as GeneratorDatasets with torch's epochs."""
