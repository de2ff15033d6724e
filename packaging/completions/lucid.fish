complete --keep-order --exclusive --command lucid --arguments "(_LUCID_COMPLETE=fish lucid -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
