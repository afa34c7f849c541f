from softprompt.data.batch import Batch


def test_sequences_are_laid_end_to_end():
    batch = Batch.pack([([5, 6], [7, 2]), ([8], [2]), ([9, 10, 11], [12, 13, 2])], [0, 1, 0])
    assert batch.token_ids.tolist() == [5, 6, 7, 2, 8, 2, 9, 10, 11, 12, 13, 2]
    assert batch.lengths.tolist() == [4, 2, 6]
    assert batch.answer_lengths.tolist() == [2, 1, 3]
    assert batch.prompt_of.tolist() == [0, 1, 0]
    assert batch.answer_ids.tolist() == [7, 2, 2, 12, 13, 2]
    assert batch.sequence_of_answer_token.tolist() == [0, 0, 1, 2, 2, 2]
