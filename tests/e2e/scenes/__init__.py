"""Many stories on one exchange at the same time, so that they cost little: what they share.

- `stage`: the exchange, and what happens to all stories alike: blocks (`mint`), matches (`floor`), time (`calendar`)
- `players`: traders as processes of their own, and rogues built from the client's library
- `scene`: two traders of one story, and their books, kept to the atom from what the chains hold (`chainbook`)
- `theatre`: all stories of a module, told side by side; `cast`: the players of one, and plays for both sides
- `forgery`: contracts that are not as agreed; `steps`: a swap's steps where its transactions wait for the story's word
- `mortals`: clients that die at a write or broadcast of their own, in the program `mortal`; `power`: of the server
- `customers`: clients with a configuration of their own; `liar`: an Electrum server that lies to them
- `middleman`: a wire between a client and the exchange, on which others speak in the exchange's name
- `oracle`: a wire between a client and an indexer, on which others estimate fees
"""
