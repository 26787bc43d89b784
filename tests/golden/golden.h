/* Parts of tests/golden/run. */
#ifndef MOE_TESTS_GOLDEN_H
#define MOE_TESTS_GOLDEN_H

/* Compares DIR/tokenizer.json with DIR/cases.jsonl and DIR/decode.jsonl; prints the first mismatches, returns their number. */
int golden_tokenizers(const char *dir, unsigned long *n_compared);

#endif
