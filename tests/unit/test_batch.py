from softprompt.data.batch import Batch


def test_texts_and_answers_are_concatenated():
    batch = Batch.of_pairs([([5, 6], [7, 2]), ([8], [2]), ([9, 10, 11], [12, 13, 2])], [0, 1, 0])
    assert batch.text_ids.tolist() == [5, 6, 8, 9, 10, 11]
    assert batch.text_lengths.tolist() == [2, 1, 3]
    assert batch.answer_lengths.tolist() == [2, 1, 3]
    assert batch.prompt_of.tolist() == [0, 1, 0]
    assert batch.answer_ids.tolist() == [7, 2, 2, 12, 13, 2]
    assert batch.answer_of_token.tolist() == [0, 0, 1, 2, 2, 2]
    assert batch.text_of.tolist() == [0, 1, 2]
    assert [ids.tolist() for ids in batch.read_ids] == [[7], [], [12, 13]]


def test_several_answers_share_a_text():
    batch = Batch.of_texts([([5, 6], [[7, 2], [8, 9, 2]]), ([4], [[3]])], [1, 0])
    assert batch.text_ids.tolist() == [5, 6, 4]
    assert batch.answer_ids.tolist() == [7, 2, 8, 9, 2, 3]
    assert batch.text_of.tolist() == [0, 0, 1]
    assert batch.answer_of_token.tolist() == [0, 0, 1, 1, 1, 2]
    assert batch.prompt_of.tolist() == [1, 0]
