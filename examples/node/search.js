// Filters, facets, groups and two pages of a running Tandem, from Node.js:
//   npm install --prefix examples/node && node examples/node/search.js "red mug" 127.0.0.1:50051
const path = require("path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const protos = path.join(__dirname, "..", "..", "protos");
const definition = loader.loadSync("tandem/v1/search.proto", {
  includeDirs: [protos],
  keepCase: true,
  defaults: true, // an empty list is [] and not undefined
  enums: String,
  longs: Number,
});
const { SearchService } = grpc.loadPackageDefinition(definition).tandem.v1;

const [query = "red mug", address = "127.0.0.1:50051", seconds = "0.5"] = process.argv.slice(2);
const client = new SearchService(address, grpc.credentials.createInsecure());

const request = {
  query,
  top_k: 5,
  filter: { range: { field: "price", below: { number: 20 } } },
  facets: [
    { field: "brand", limit: 5 },
    { field: "price", borders: [0, 10, 20] },
  ],
  group_by: { field: "item_group_id" }, // the best variant of each product
};

function search(page_token) {
  const deadline = Date.now() + 1000 * Number(seconds);
  return new Promise((resolve, reject) => {
    client.Search({ ...request, page_token }, { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

function format(facet) {
  const values = facet.values.map(({ value, count }) => `${value} (${count})`);
  const ranges = facet.ranges.map(({ at_least, below, count }) => `${at_least} to ${below} (${count})`);
  return `${facet.field}: ${[...values, ...ranges].join(", ") || "none"}`;
}

async function main() {
  const first = await search("");
  console.log(`${first.total.value} products match, in ${first.groups.value} groups`);
  first.facets.forEach((facet) => console.log(format(facet)));
  const second = first.next_page_token ? await search(first.next_page_token) : { hits: [] };
  for (const hit of [...first.hits, ...second.hits]) {
    console.log(`${hit.rank}. ${hit.product.title}, one of ${hit.group.size}`);
  }
  for (const { reason, detail } of first.degraded) {
    console.log(`degraded: ${reason} ${detail}`);
  }
}

main()
  .catch((error) => {
    console.error(`${error.code}: ${error.details}`);
    process.exitCode = 1;
  })
  .finally(() => client.close());
