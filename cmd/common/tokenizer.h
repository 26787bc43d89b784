/* The model's tokenizer, for the programs that need one. */
#ifndef MOE_CMD_TOKENIZER_H
#define MOE_CMD_TOKENIZER_H

#include "text/tokenizer.h"

/* Loads tokenizer.json of the model's directory; fingerprint gets 33 bytes. Dies on failure. */
struct moe_tokenizer *tokenizer_load(char *fingerprint);

#endif
