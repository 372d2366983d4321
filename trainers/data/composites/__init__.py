"""Made-up scenes: cut-out pictures of things, some with their colour changed, pasted onto backgrounds. Every box, name
and colour in them is known, and so is what they do not show.

`packages` fetches cut-outs, `sprites` reads them, `names` says what they show, `recolor` changes their colour, `stock`
knows which thing works in which colour and which pairs are held out, `scenes` draws, `phrases` words, `synth` writes.
"""
