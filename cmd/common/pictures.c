#include "common/pictures.h"

struct pictures_options pictures_options;

void pictures_start(void)
{
	struct moe_diag d = {0};

	cli_check(moe_feed_server_start(&d), &d);
}

struct moe_feed *pictures_feed(char **operands, int n, struct moe_feed_options *o)
{
	const struct pictures_options *p = &pictures_options;
	struct moe_diag d = {0};
	struct moe_feed *feed;

	o->decode.no_sandbox = o->archive.no_sandbox = p->no_sandbox;
	cli_check(moe_feed_new(&feed, o, &d), &d);
	for (int i = 0; i < n; i++)
		cli_check(moe_feed_add(feed, operands[i], &d), &d);
	if (p->files_from)
		cli_check(moe_feed_add_list(feed, p->files_from, p->null ? 0 : '\n', &d), &d);
	return feed;
}
